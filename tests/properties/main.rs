//! Property tests.

fn main() {}
