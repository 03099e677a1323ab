//! Makes the sandboxes of this crate's tests.

fn main() {
    evoke_sandbox::sandbox_init_main()
}
