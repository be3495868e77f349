//! The keys of the language: one table per mapping, which the decoder, the hints and the JSON Schema share.

/// A mapping of the language with the keys it may have.
#[derive(Debug)]
pub struct Shape {
    /// With its article, as a message says it: "a phase".
    pub name: &'static str,
    /// One sentence for editors.
    pub summary: &'static str,
    /// Keys of which exactly one is given; empty when any may be.
    pub one_of: &'static [&'static str],
    pub keys: &'static [Key],
}

/// One key of a mapping.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub required: bool,
    pub form: Form,
    /// One sentence for editors.
    pub summary: &'static str,
}

/// What a value looks like.
#[derive(Debug)]
pub enum Form {
    Text,
    /// The name of something: letters, digits, `-`, `_`, `.`.
    Name,
    /// Text in which `${{ … }}` is filled in.
    Template,
    /// A CEL expression.
    Expression,
    Duration,
    Share,
    Boolean,
    Integer {
        min: u64,
        max: u64,
    },
    Choice(&'static [&'static str]),
    Date,
    Time,
    Zone,
    /// An instant with its zone, `2026-03-02T10:00:00Z`.
    Instant,
    /// A number with a unit: `512Mi`, `250ms`, `0.1%`.
    Quantity,
    /// `{secret: name}` or a template.
    TextOrSecret,
    List(&'static Form),
    /// One value or a list of them.
    OneOrMore(&'static Form),
    /// Names chosen by the author, each with a value of this form.
    Map(&'static Form),
    Object(&'static Shape),
    /// Any of these.
    Either(&'static [Form]),
    /// One key that names a kind the vocabulary knows, with that kind's settings.
    Kind(Kinds),
    /// Settings that only their owner knows.
    Anything,
}

/// Which list of the vocabulary names the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    Sources,
    Notifiers,
    Providers,
}

impl Shape {
    /// The key's row in the table.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// A key that must be there.
pub const fn required(name: &'static str, form: Form, summary: &'static str) -> Key {
    Key {
        name,
        required: true,
        form,
        summary,
    }
}

/// A key that may be there.
pub const fn optional(name: &'static str, form: Form, summary: &'static str) -> Key {
    Key {
        name,
        required: false,
        form,
        summary,
    }
}
