//! The log shipper as a program of its own, for its tests; images have it in the package `multi-call`.

fn main() -> std::process::ExitCode {
    lepton_logs::main()
}
