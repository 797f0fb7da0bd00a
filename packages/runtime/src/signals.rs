//! Signals by their names, as images and CRI write them. It must not send any.

use lepton_cri::v1::Signal;

/// The first 31, by number.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// What asks a program to end when nothing else is said.
pub(crate) const TERM: i32 = 15;
/// First and last real-time signal.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The number of a name (`SIGTERM`, `TERM`, `RTMIN+3`) or number.
pub(crate) fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let same = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    if let Some(place) = NAMES.iter().position(|known| *known == same) {
        return i32::try_from(place).ok().map(|place| place + 1);
    }
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => RTMIN,
        (_, Some("")) => RTMAX,
        (Some(plus), _) => {
            RTMIN + plus.trim_start_matches("PLUS").trim_start_matches('+').parse::<i32>().ok()?
        }
        (_, Some(minus)) => {
            RTMAX - minus.trim_start_matches("MINUS").trim_start_matches('-').parse::<i32>().ok()?
        }
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// The number of CRI's name; `None` when it leaves the choice.
pub(crate) fn of_cri(signal: Signal) -> Option<i32> {
    parse(signal.as_str_name().strip_prefix("SIGNAL_")?)
}

/// CRI's name of a number.
pub(crate) fn to_cri(number: i32) -> Signal {
    let name = match usize::try_from(number - 1).ok().and_then(|place| NAMES.get(place)) {
        Some(name) => format!("SIGNAL_SIG{name}"),
        None if number == RTMIN => "SIGNAL_SIGRTMIN".to_owned(),
        None if number == RTMAX => "SIGNAL_SIGRTMAX".to_owned(),
        None if number <= RTMIN + 15 => format!("SIGNAL_SIGRTMINPLUS{}", number - RTMIN),
        None => format!("SIGNAL_SIGRTMAXMINUS{}", RTMAX - number),
    };
    Signal::from_str_name(&name).unwrap_or(Signal::RuntimeDefault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(parse("SIGTERM"), Some(15));
        assert_eq!(parse("quit"), Some(3));
        assert_eq!(parse("9"), Some(9));
        assert_eq!(parse("SIGRTMIN+3"), Some(37));
        assert_eq!(parse("SIGRTMAX-1"), Some(63));
        assert_eq!(parse("SIGWHAT"), None);
        assert_eq!(parse("65"), None);
    }

    #[test]
    fn every_signal_of_cri_has_a_number_and_back() {
        for value in 1..=65 {
            let signal = Signal::try_from(value).unwrap();
            let number = of_cri(signal).unwrap_or_else(|| panic!("{}", signal.as_str_name()));
            assert_eq!(of_cri(to_cri(number)), Some(number));
        }
        assert_eq!(of_cri(Signal::RuntimeDefault), None);
    }
}
