//! droptrace against real kernels.
