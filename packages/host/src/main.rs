//! The management API as a program.

fn main() -> std::process::ExitCode {
    lepton_host::main()
}
