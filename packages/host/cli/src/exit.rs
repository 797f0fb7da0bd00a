//! Exit codes: the one place that says what they mean.

/// Done.
pub(crate) const DONE: u8 = 0;
/// Refused or out of reach.
pub(crate) const REFUSED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// There is no such thing.
pub(crate) const NOT_FOUND: u8 = 3;
/// Somebody else was faster.
pub(crate) const CONFLICT: u8 = 4;
/// Not allowed, or not known.
pub(crate) const DENIED: u8 = 5;
/// No answer in time.
pub(crate) const DEADLINE: u8 = 6;

/// What `lepton help exit-codes` and docs/cli.md print.
pub(crate) const TEXT: &str = "\
0  done
1  refused or out of reach; also when several hosts fail in different ways
2  wrong usage
3  there is no such service, container or trial
4  conflict: the config in effect is another, or one is on trial
5  not allowed: the role is too small, or host and caller do not know each other
6  no answer in time
exec ends with the code of its program.";

/// The code of several hosts: done only when all are, and a failure's own code when all failures are alike.
pub(crate) fn of_all(codes: impl IntoIterator<Item = u8>) -> u8 {
    codes
        .into_iter()
        .filter(|code| *code != DONE)
        .reduce(|one, two| if one == two { one } else { REFUSED })
        .unwrap_or(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts() {
        for (codes, all) in [
            (&[][..], DONE),
            (&[DONE, DONE], DONE),
            (&[DONE, NOT_FOUND], NOT_FOUND),
            (&[NOT_FOUND, NOT_FOUND], NOT_FOUND),
            (&[NOT_FOUND, DENIED], REFUSED),
            (&[DENIED, REFUSED, DENIED], REFUSED),
        ] {
            assert_eq!(of_all(codes.iter().copied()), all, "{codes:?}");
        }
    }
}
