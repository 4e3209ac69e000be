//! The built kernel program. The program itself is in `main.rs`.
#![no_std]
