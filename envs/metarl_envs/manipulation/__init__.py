"""Meta-World's manipulation benchmarks; needs the extra metaworld."""
