//! The list of diagnostic codes: one line and one page each.

use std::fmt;

use crate::diagnostic::Severity;

/// The code of a diagnostic, `M001` and so on. Codes are never reused: people search for them.
#[derive(Clone, Copy)]
pub struct Code(&'static Entry);

struct Entry {
    id: &'static str,
    severity: Severity,
    page: &'static str,
}

impl Code {
    /// The code itself, `M012`.
    pub fn id(self) -> &'static str {
        self.0.id
    }

    /// The severity of its diagnostics.
    pub fn severity(self) -> Severity {
        self.0.severity
    }

    /// Its page, Markdown.
    pub fn page(self) -> &'static str {
        self.0.page
    }

    /// Its title: the first line of the page without the code.
    pub fn title(self) -> &'static str {
        let heading = self.0.page.lines().next().unwrap_or_default();
        heading.split_once(": ").map_or(heading, |(_, title)| title)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Code) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.id)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.id)
    }
}

macro_rules! codes {
    ($($id:literal $severity:ident $name:ident)*) => {
        impl Code {
            $(
                #[doc = concat!($id, "; its page says what it means.")]
                pub const $name: Code = Code(&Entry {
                    id: $id,
                    severity: Severity::$severity,
                    page: include_str!(concat!("pages/", $id, ".md")),
                });
            )*
        }

        /// Every code, in order.
        pub const ALL: &[Code] = &[$(Code::$name),*];
    };
}

codes! {
    // The text
    "M001" Error FILE_TOO_LARGE
    "M002" Error NOT_UTF8
    "M003" Error HIDDEN_CHARACTER
    "M004" Error NOT_YAML
    "M005" Error TOO_DEEP
    "M006" Error TOO_MANY_VALUES
    "M007" Error DUPLICATE_KEY
    "M008" Error TAG
    "M009" Error ALIAS
    "M010" Error KEY
    // The envelope and the shape
    "M011" Error ENVELOPE
    "M012" Error STAGES_RISE
    "M013" Error UNKNOWN_KIND
    "M014" Error UNKNOWN_KEY
    "M015" Error MISSING_KEY
    "M016" Error WRONG_TYPE
    "M017" Error NAME
    "M018" Error SECOND_WORKFLOW
    "M019" Error TOO_MANY
    // Values
    "M020" Error DURATION
    "M021" Error SHARE
    "M022" Error NUMBER
    "M023" Error CHOICE
    "M024" Error ONE_OF
    "M025" Error DATE_TIME
    "M026" Error ZONE
    "M027" Error CRON
    "M028" Error SECRET
    "M029" Error PATTERN
    "M030" Error URL
    // Names that refer to something
    "M031" Error UNKNOWN_REGION
    "M032" Error UNKNOWN_GATE
    "M033" Error UNKNOWN_METRIC
    "M034" Error UNKNOWN_STRATEGY
    "M035" Error UNKNOWN_PHASE
    "M036" Error UNKNOWN_SOURCE
    "M037" Error UNKNOWN_CALENDAR
    "M038" Error UNKNOWN_NOTIFIER
    "M039" Error UNKNOWN_PROVIDER
    "M040" Error UNKNOWN_FEATURE
    // Other files, inputs, policies
    "M041" Error FILE
    "M042" Error IMPORT_CYCLE
    "M043" Error DEFINED_TWICE
    "M044" Error NOT_A_LIBRARY
    "M045" Error INPUT_MISSING
    "M046" Error INPUT_VALUE
    "M047" Error UNKNOWN_INPUT
    "M048" Error CALENDAR_FILE
    "M049" Error POLICY
    // Expressions and gates
    "M050" Error EXPRESSION
    "M051" Error EXPRESSION_TYPE
    "M052" Error TEMPLATE
    "M053" Error BASELINE_WITHOUT_ARM
    "M054" Error NO_THRESHOLD
    "M055" Error SAMPLES
    "M056" Error APPROVAL
    "M057" Error RELEASE
    "M058" Error NO_STAGES
    "M059" Error TWICE_IN_LIST
    // The whole
    "M060" Error NEEDS_CYCLE
    "M061" Error EXTENDS_CYCLE
    "M062" Error REGION_ORDER
    "M063" Error STAGE_ORDER
    "M064" Error ENDS_BELOW_FULL
    "M065" Error CAPABILITY
    "M066" Error GATE_MISPLACED
    "M067" Error COMPARISON
    // Scenarios
    "M070" Error QUANTITY
    "M071" Error UNKNOWN_STAGE
    "M072" Error SCENARIO_WORKFLOW
    "M073" Error SCRIPT
    // Doubts
    "M080" Warning NOT_YET
    "M081" Warning UNWATCHED
    "M082" Warning FOR_BELOW_EVERY
    "M083" Warning ADVANCE_ON_NO_DATA
    "M084" Warning SHORT_BAKE
    "M085" Warning REGION_UNUSED
    "M086" Warning GLOBAL_TRAFFIC
    "M087" Warning UNUSED
    "M088" Warning NEVER_OPENS
    // The flood
    "M099" Error MORE
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_rise_and_every_page_says_what_why_and_how() {
        assert!(ALL.windows(2).all(|pair| pair[0].id() < pair[1].id()));
        for code in ALL {
            let page = code.page();
            assert!(page.starts_with(&format!("# {code}: ")), "{code} begins with its title");
            for part in ["\n**Why.** ", "\n**How to mend it.** ", "\n```yaml\n"] {
                assert!(page.contains(part), "the page of {code} lacks {part:?}");
            }
        }
    }
}
