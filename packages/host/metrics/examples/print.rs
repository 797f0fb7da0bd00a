//! Prints the figures of this machine: `cargo run -p lepton-host-metrics --example print [-- prometheus]`.

use lepton_host_metrics::{Format, Places, collect_as};

#[expect(clippy::print_stdout, reason = "the output of the example")]
fn main() {
    let format = match std::env::args().nth(1).as_deref() {
        Some("prometheus") => Format::Prometheus,
        _ => Format::OpenMetrics,
    };
    print!("{}", collect_as(&Places::default(), format));
}
