//! The log shipper as a program.

fn main() -> std::process::ExitCode {
    lepton_logs::main()
}
