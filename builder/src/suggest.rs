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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_near_names() {
        let names = ["base", "kubelet", "runtime"];
        assert_eq!(hint("kublet", names), "; did you mean \"kubelet\"?");
        assert_eq!(hint("frobnicate", names), "");
    }
}
