//! `lepton-id` as a program of its own, for tests; images have it in the package `multi-call`.

fn main() -> std::process::ExitCode {
    lepton_id::main()
}
