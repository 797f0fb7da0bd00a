//! The nearest name to a misspelt one.

/// `; did you mean "x"?`, or nothing when no candidate is near.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    // A third of the letters may be wrong: enough for typing errors, too few for unrelated words.
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| format!("; did you mean {candidate:?}?"))
        .unwrap_or_default()
}

/// serde says "unknown field `x`, expected one of `a`, `b`": the nearest of those is named first.
pub fn with_suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match (unknown, names.next()) {
        (true, Some(name)) => {
            let hint = hint(name, names);
            message.replacen(", expected", &format!("{hint}, expected"), 1)
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_near_names() {
        let names = ["base", "kubelet", "runtime"];
        assert_eq!(hint("kublet", names), "; did you mean \"kubelet\"?");
        assert_eq!(hint("frobnicate", names), "");
        assert_eq!(
            with_suggestion("unknown variant `doe`, expected `one` or `done`"),
            "unknown variant `doe`; did you mean \"done\"?, expected `one` or `done`"
        );
    }
}
