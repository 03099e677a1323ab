//! The program `evoke`.

fn main() {}
