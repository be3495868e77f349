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
