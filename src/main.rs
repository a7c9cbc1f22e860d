//! The `iaso` command.

fn main() {}
