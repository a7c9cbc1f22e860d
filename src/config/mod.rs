//! Configuration: as written, decoded with every mistake reported, and validated.

pub mod validated;
