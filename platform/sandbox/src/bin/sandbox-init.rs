//! Makes a sandbox and becomes its first process; for tests and for hubs that are not `evoke`.

fn main() {
    evoke_sandbox::sandbox_init_main()
}
