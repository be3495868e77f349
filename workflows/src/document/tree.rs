//! From YAML events to trees, within the limits: no recursion, aliases written out, every problem noted.

use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag, options};

use crate::diagnostic::collector::Diagnostics;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Document, Entry, Map, Node, Scalar, Style, Value};
use crate::document::source::{Place, Source};
use crate::limits;

// The tree is built from the parser's events rather than through serde: events tell quoted from plain text, give every key
// its place, and let one file report all its duplicate keys, tags and unknown aliases instead of the first.

/// All documents of a source that could be read.
pub(super) fn build(source: &Arc<Source>, diagnostics: &mut Diagnostics) -> Vec<Document> {
    let options = options! {
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: limits::DEPTH_MAX,
        block_nesting_limit: limits::DEPTH_MAX,
    };
    let mut parser = Parser::new_from_str_with_options(source.text(), options);
    let mut builder = Builder::new(source, diagnostics);
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => {
                if let Err(TooLarge) = builder.take(event, span) {
                    return Vec::new();
                }
            }
            Some(Err(error)) => {
                builder.abandon_document();
                builder.diagnostics.push(not_yaml(source, &error));
                // A nesting beyond the limit is an attack or an accident; there is nothing to recover behind it.
                if *error.kind() == ErrorKind::RecursionLimitExceeded
                    || !matches!(parser.proceed_next_document(), Ok(true))
                {
                    break;
                }
            }
        }
    }
    builder.documents
}

/// The file breaks a limit; the diagnostic has been given and nothing of it is used.
struct TooLarge;

/// A list or mapping whose end has not been read.
struct Open {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { map: Map, merged: Vec<Node>, next: Next },
}

/// What a mapping expects: a key, or the value of a key (`None`: the key was refused, its value is dropped).
enum Next {
    Key,
    Value(Option<(String, Place)>),
    Merge,
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    diagnostics: &'a mut Diagnostics,
    documents: Vec<Document>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    values: usize,
    scalar_bytes: usize,
    aliases: usize,
    documents_started: usize,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Arc<Source>, diagnostics: &'a mut Diagnostics) -> Self {
        Builder {
            source,
            diagnostics,
            documents: Vec::new(),
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            values: 0,
            scalar_bytes: 0,
            aliases: 0,
            documents_started: 0,
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), TooLarge> {
        let bytes = span.byte_range().unwrap_or(0..0);
        match event {
            Event::DocumentStart(..) => {
                self.documents_started += 1;
                if self.documents_started > limits::DOCUMENTS_MAX {
                    return Err(self.too_large(bytes.start, format!("more than {} documents", limits::DOCUMENTS_MAX)));
                }
            }
            Event::DocumentEnd => self.end_document(),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &span);
                let node = self.scalar(text.into_owned(), style, bytes)?;
                self.remember(anchor, &node)?;
                self.attach(node);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &span);
                self.open(bytes.start, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), &span);
                self.open(
                    bytes.start,
                    anchor,
                    Content::Map {
                        map: Map::default(),
                        merged: Vec::new(),
                        next: Next::Key,
                    },
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(bytes.end)?,
            Event::Alias(id) => {
                let node = self.alias(id, bytes)?;
                self.attach(node);
            }
            Event::UnresolvedAlias(name) => {
                let place = Place::new(self.source, bytes);
                self.diagnostics.push(
                    Diagnostic::new(
                        Code::ALIAS,
                        place.clone(),
                        format!("nothing before this line is anchored as `&{name}`"),
                    )
                    .hint("an alias repeats a value that carries the anchor earlier in the same document"),
                );
                self.attach(Node {
                    place,
                    value: Value::Null,
                });
            }
            // Stream borders carry nothing; comments and anchors are not asked for. The enum is open, so later kinds land here.
            _ => {}
        }
        Ok(())
    }

    fn abandon_document(&mut self) {
        self.open.clear();
        self.root = None;
        self.anchors.clear();
    }

    fn end_document(&mut self) {
        if let Some(root) = self.root.take()
            && !matches!(root.value, Value::Null)
        {
            self.documents.push(Document {
                source: Arc::clone(self.source),
                root,
            });
        }
        self.abandon_document();
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, bytes: std::ops::Range<usize>) -> Result<Node, TooLarge> {
        if text.len() > limits::SCALAR_BYTES_MAX {
            let message = format!(
                "a text of {} bytes, at most {} are read",
                text.len(),
                limits::SCALAR_BYTES_MAX
            );
            return Err(self.too_large(bytes.start, message));
        }
        self.charge(1, text.len(), bytes.start)?;
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let is_null = style == Style::Plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        let value = if is_null {
            Value::Null
        } else {
            Value::Scalar(Scalar { text, style })
        };
        Ok(Node {
            place: Place::new(self.source, bytes),
            value,
        })
    }

    fn open(&mut self, start: usize, anchor: usize, content: Content) -> Result<(), TooLarge> {
        self.charge(1, 0, start)?;
        if self.open.len() >= limits::DEPTH_MAX {
            return Err(self.too_deep(start));
        }
        self.open.push(Open { start, anchor, content });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), TooLarge> {
        let Some(Open { start, anchor, content }) = self.open.pop() else {
            return Ok(());
        };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { map, merged, .. } => Value::Map(self.merge(map, merged)?),
        };
        // The end of a block collection is where the next thing begins: give the blank lines in between back.
        let written = self.source.text().get(start..end).unwrap_or_default().trim_end().len();
        let node = Node {
            place: Place::new(self.source, start..start + written),
            value,
        };
        self.remember(anchor, &node)?;
        self.attach(node);
        Ok(())
    }

    /// Adds what `<<` brings in; a key that is written out wins.
    fn merge(&mut self, mut map: Map, merged: Vec<Node>) -> Result<Map, TooLarge> {
        for node in merged {
            let place = node.place.clone();
            let sources = match node.value {
                Value::List(items) => items,
                Value::Null | Value::Scalar(_) | Value::Map(_) => vec![node],
            };
            for source in sources {
                let Value::Map(source) = source.value else {
                    let message = format!("`<<` takes a mapping or a list of mappings, found {}", source.kind());
                    self.diagnostics
                        .push(Diagnostic::new(Code::KEY, place.clone(), message));
                    continue;
                };
                for (key, entry) in source.entries {
                    map.entries.entry(key).or_insert(entry);
                }
            }
        }
        Ok(map)
    }

    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), TooLarge> {
        if anchor != 0 {
            self.charge(node.size(), node.scalar_bytes(), node.place.span().start)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, bytes: std::ops::Range<usize>) -> Result<Node, TooLarge> {
        self.aliases += 1;
        if self.aliases > limits::ALIASES_MAX {
            return Err(self.too_large(bytes.start, format!("more than {} aliases", limits::ALIASES_MAX)));
        }
        let place = Place::new(self.source, bytes);
        let Some((size, scalar_bytes, height)) = self
            .anchors
            .get(&id)
            .map(|node| (node.size(), node.scalar_bytes(), node.height()))
        else {
            let message = format!("`{}` stands inside the value that it repeats", place.text());
            self.diagnostics
                .push(Diagnostic::new(Code::ALIAS, place.clone(), message));
            return Ok(Node {
                place,
                value: Value::Null,
            });
        };
        self.charge(size, scalar_bytes, place.span().start)?;
        if self.open.len() + height > limits::DEPTH_MAX {
            return Err(self.too_deep(place.span().start));
        }
        Ok(self.anchors.get(&id).cloned().unwrap_or(Node {
            place,
            value: Value::Null,
        }))
    }

    fn attach(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { map, merged, next }) => match std::mem::replace(next, Next::Key) {
                Next::Key => *next = key(node, self.diagnostics),
                Next::Merge => merged.push(node),
                Next::Value(None) => {}
                Next::Value(Some((text, key))) => match map.entries.get(&text) {
                    None => {
                        map.entries.insert(text, Entry { key, value: node });
                    }
                    Some(first) => {
                        let message = format!("the key `{text}` stands here for the second time");
                        self.diagnostics.push(
                            Diagnostic::new(Code::DUPLICATE_KEY, key, message).and(first.key.clone(), "first here"),
                        );
                    }
                },
            },
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, span: &Span) {
        let Some(tag) = tag else { return };
        let bytes = span
            .tag_span()
            .and_then(|span| span.byte_range())
            .or_else(|| span.byte_range())
            .unwrap_or(0..0);
        let message = format!("the tag `{}` is not part of the language", tag.original());
        self.diagnostics.push(
            Diagnostic::new(Code::TAG, Place::new(self.source, bytes), message)
                .hint("remove it: every key knows which type its value has"),
        );
    }

    fn charge(&mut self, values: usize, scalar_bytes: usize, at: usize) -> Result<(), TooLarge> {
        self.values += values;
        self.scalar_bytes += scalar_bytes;
        if self.values > limits::VALUES_MAX {
            return Err(self.too_large(
                at,
                format!("more than {} values, aliases written out", limits::VALUES_MAX),
            ));
        }
        if self.scalar_bytes > limits::SCALARS_BYTES_MAX {
            let message = format!(
                "more than {} bytes of text, aliases written out",
                limits::SCALARS_BYTES_MAX
            );
            return Err(self.too_large(at, message));
        }
        Ok(())
    }

    fn too_large(&mut self, at: usize, what: String) -> TooLarge {
        let place = Place::new(self.source, at..at + 1);
        self.diagnostics.push(
            Diagnostic::new(Code::TOO_MANY_VALUES, place, format!("the file has {what}"))
                .hint("split shared definitions into a Library and import it"),
        );
        TooLarge
    }

    fn too_deep(&mut self, at: usize) -> TooLarge {
        self.diagnostics
            .push(nested_too_deeply(Place::new(self.source, at..at + 1)));
        TooLarge
    }
}

fn key(node: Node, diagnostics: &mut Diagnostics) -> Next {
    match node.value {
        Value::Scalar(Scalar {
            text,
            style: Style::Plain,
        }) if text == "<<" => Next::Merge,
        Value::Scalar(Scalar { text, .. }) => Next::Value(Some((text, node.place))),
        Value::Null | Value::List(_) | Value::Map(_) => {
            let message = format!("a key must be text, found {}", node.kind());
            let hint = "text that contains `${{ … }}` or begins with `{` or `[` needs quotes";
            diagnostics.push(Diagnostic::new(Code::KEY, node.place.first_line(), message).hint(hint));
            Next::Value(None)
        }
    }
}

fn nested_too_deeply(place: Place) -> Diagnostic {
    Diagnostic::new(
        Code::TOO_DEEP,
        place,
        format!("lists and mappings are nested more than {} deep", limits::DEPTH_MAX),
    )
}

/// The diagnostic of a text that is not YAML, with the hint that fits the usual causes.
fn not_yaml(source: &Arc<Source>, error: &ScanError) -> Diagnostic {
    let at = error.marker().byte_offset().unwrap_or(0);
    let place = Place::new(source, at..at + 1);
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return nested_too_deeply(place);
    }
    let line = source
        .text()
        .get(source.line(place.position().line))
        .unwrap_or_default();
    let hint = match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            Some("YAML is indented with spaces, not with tabs")
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => Some("a quote is not closed"),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence => Some("a bracket or brace is not closed"),
        _ if line.contains("${{") => Some("inside `{…}` and `[…]`, text that contains `${{ … }}` needs quotes"),
        _ => None,
    };
    let mut diagnostic = Diagnostic::new(Code::NOT_YAML, place, format!("this is not YAML: {}", error.info()));
    if let Some(hint) = hint {
        diagnostic = diagnostic.hint(hint);
    }
    diagnostic
}
