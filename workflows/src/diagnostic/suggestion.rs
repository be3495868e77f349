//! *Did you mean*: the known name that an unknown one was probably meant to be.

/// The candidate nearest to what was written, when it is near enough to be meant: the same letters in another style
/// (`max_parallel` for `maxParallel`), or a few typing errors.
pub fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    // A name of many kilobytes resembles nothing; measuring it would take quadratic time.
    if written.len() > 100 {
        return None;
    }
    let wanted = plain(written);
    let tolerance = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 100)
        .map(|candidate| (strsim::osa_distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The hint for an unknown name: the nearest known one, or all of them when they are few.
pub fn hint<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(meant) = closest(written, candidates.iter().copied()) {
        return Some(format!("did you mean `{meant}`?"));
    }
    match candidates.len() {
        0 => None,
        1 => Some(format!("the only one known here is `{}`", candidates[0])),
        2..=16 => Some(format!("known here: {}", candidates.join(", "))),
        more => Some(format!(
            "known here: {}, … ({more} in all)",
            candidates[..12].join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{closest, hint};

    #[test]
    fn typing_errors_and_other_styles_are_recognised() {
        let keys = ["maxParallel", "maxFailures", "needs", "bake"];
        assert_eq!(closest("max_parallel", keys), Some("maxParallel"));
        assert_eq!(closest("maxFailure", keys), Some("maxFailures"));
        assert_eq!(closest("baek", keys), Some("bake"));
        assert_eq!(closest("kubernetes", keys), None);
    }

    #[test]
    fn a_name_that_resembles_nothing_gets_the_list() {
        assert_eq!(
            hint("zzz", ["stage", "region"]).as_deref(),
            Some("known here: stage, region")
        );
        assert_eq!(hint("zzz", []), None);
    }
}
