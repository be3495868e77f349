//! Puts the time of a question into a query that is text: `$from`, `$to` and `$step` in the query's own language.

use jiff::Timestamp;
use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::metric::Stretch;
use meridian_workflows::duration::Duration;

use crate::metric::buckets::{floor, recent, settled};
use crate::metric::words::Rhythm;

/// How a language writes an instant and a length of time.
#[derive(Clone, Copy)]
pub struct Writing {
    pub instant: fn(Timestamp) -> String,
    pub length: fn(Duration) -> String,
}

/// A query with its time filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub query: String,
    /// What the query was told to look at.
    pub over: Stretch,
    /// Whether its answer comes in buckets of `over.step`.
    pub is_bucketed: bool,
}

/// The query for one number at `at`. With `$step` it looks at whole buckets as far back as the lookback says, and the newest is
/// the number; without it, at the metric's window up to the last instant that is settled, and its one value is the number.
pub fn one(query: &str, at: Timestamp, rhythm: &Rhythm, window: Duration, writing: Writing) -> Placed {
    let is_bucketed = mentions(query, "step");
    let over = if is_bucketed {
        recent(at, rhythm.step, rhythm)
    } else {
        let to = settled(at, rhythm.delay);
        Stretch {
            from: to.checked_sub(window.signed()).unwrap_or(Timestamp::MIN),
            to,
            step: rhythm.step,
        }
    };
    Placed {
        query: filled(query, over, writing),
        over,
        is_bucketed,
    }
}

/// The query for a series, in whole buckets.
///
/// *Errors*: lasting, when the query has no `$step`: one value for the whole stretch is no series.
pub fn many(query: &str, over: Stretch, rhythm: &Rhythm, writing: Writing) -> Result<Placed, Failure> {
    if !mentions(query, "step") {
        return Err(Failure::lasting(
            "a series needs a query with `$step` as the width of its buckets, and `$from` and `$to` as its bounds",
        ));
    }
    let over = whole(over, over.step.max(rhythm.step), rhythm);
    Ok(Placed {
        query: filled(query, over, writing),
        over,
        is_bucketed: true,
    })
}

/// The stretch in whole buckets of `step`, none of which can still be filling.
pub fn whole(over: Stretch, step: Duration, rhythm: &Rhythm) -> Stretch {
    Stretch {
        from: floor(over.from, step),
        to: floor(settled(over.to, rhythm.delay), step),
        step,
    }
}

/// Whether a word stands in the query outside of its quoted texts, whatever its case.
pub fn has_word(query: &str, word: &str) -> bool {
    bare(query)
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .any(|known| known.eq_ignore_ascii_case(word))
}

/// The query with blanks in the place of its quoted texts.
pub fn bare(query: &str) -> String {
    let mut quote = None;
    let mut is_escaped = false;
    let blanked = query.chars().map(|letter| match quote {
        Some(_) if is_escaped => {
            is_escaped = false;
            ' '
        }
        Some(_) if letter == '\\' => {
            is_escaped = true;
            ' '
        }
        Some(open) if letter == open => {
            quote = None;
            ' '
        }
        Some(_) => ' ',
        None if "'\"`".contains(letter) => {
            quote = Some(letter);
            ' '
        }
        None => letter,
    });
    blanked.collect()
}

fn filled(query: &str, over: Stretch, writing: Writing) -> String {
    replaced(query, |name| match name {
        "from" => Some((writing.instant)(over.from)),
        "to" => Some((writing.instant)(over.to)),
        "step" => Some((writing.length)(over.step)),
        _ => None,
    })
}

fn mentions(query: &str, name: &str) -> bool {
    let mut is_mentioned = false;
    replaced(query, |found| {
        is_mentioned |= found == name;
        None
    });
    is_mentioned
}

/// Replaces `$name` where `of` knows the name; a longer name such as `$tomorrow` is another one.
fn replaced(query: &str, mut of: impl FnMut(&str) -> Option<String>) -> String {
    let mut parts = query.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        match of(name) {
            Some(value) => text.push_str(&value),
            None => {
                text.push('$');
                text.push_str(name);
            }
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use meridian_engine::ports::metric::Stretch;
    use meridian_workflows::duration::Duration;

    use super::{Writing, bare, has_word, many, one};
    use crate::metric::words::Rhythm;

    const WRITING: Writing = Writing {
        instant: |at| at.as_second().to_string(),
        length: |length| format!("{}s", length.as_millis() / 1000),
    };
    const RHYTHM: Rhythm = Rhythm {
        step: Duration::from_secs(60),
        delay: Duration::from_secs(5),
        lookback: Duration::from_secs(300),
    };

    #[test]
    fn a_window_ends_where_the_data_is_settled() {
        let at = Timestamp::from_second(1_000).unwrap();
        let placed = one(
            "a > $from and a < $to and $tomorrow $$",
            at,
            &RHYTHM,
            Duration::from_secs(120),
            WRITING,
        );
        assert_eq!(placed.query, "a > 875 and a < 995 and $tomorrow $$");
        assert!(!placed.is_bucketed);
    }

    #[test]
    fn words_in_quoted_texts_are_none() {
        assert_eq!(bare("a 'b' c"), "a     c");
        assert!(has_word("select a into b", "INTO"));
        assert!(!has_word("select 'it\\'s into b' from c", "INTO"));
        assert!(!has_word("select \"into\" from intomb", "into"));
    }

    #[test]
    fn buckets_are_whole() {
        let at = Timestamp::from_second(1_000).unwrap();
        let placed = one("$from $to by $step", at, &RHYTHM, Duration::from_secs(120), WRITING);
        assert_eq!(placed.query, "660 960 by 60s");
        let over = Stretch {
            from: Timestamp::from_second(100).unwrap(),
            to: at,
            step: Duration::from_secs(120),
        };
        assert_eq!(
            many("$from $to by $step", over, &RHYTHM, WRITING).unwrap().query,
            "0 960 by 120s"
        );
        assert!(many("$from $to", over, &RHYTHM, WRITING).is_err());
    }
}
