//! How large a text may be: every limit of the language in one place, each with its reason.

/// Bytes of one file. A workflow of 500 regions takes about 100 KB; a file ten times that is not written by a person, and
/// reading it must stay a matter of milliseconds.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Documents in one file. A Library, a Workflow and its Scenarios fit; a stream of thousands is an accident.
pub const DOCUMENTS_MAX: usize = 64;

/// Lists and mappings inside one another. The language itself needs about 10; 40 leaves room for provider settings and
/// keeps every recursive walk over a tree far away from the end of the smallest stack.
pub const DEPTH_MAX: usize = 40;

/// Values (scalars, lists, mappings) of one file with aliases written out. 500 regions with 20 settings each are 20,000;
/// an alias bomb reaches this limit within a millisecond and stops there.
pub const VALUES_MAX: usize = 100_000;

/// Uses of an alias in one file. Anchors save typing; hundreds of them hide what a file says.
pub const ALIASES_MAX: usize = 500;

/// Bytes of one scalar. The longest honest ones are queries and notes.
pub const SCALAR_BYTES_MAX: usize = 64 * 1024;

/// Bytes of all scalars of one file with aliases written out, so that few aliases of long texts cannot fill the memory.
pub const SCALARS_BYTES_MAX: usize = 4 * FILE_BYTES_MAX;

/// Files that one workflow may bring in through `imports`, directly and indirectly.
pub const IMPORTS_MAX: usize = 64;

/// Regions of one workflow. The largest cloud has fewer than 100; a cell-based platform may have a few hundred.
pub const REGIONS_MAX: usize = 500;

/// Phases of one workflow: more than one per region makes no sense.
pub const PHASES_MAX: usize = 500;

/// Stages of one strategy or phase. Ladders of the field have at most seven.
pub const STAGES_MAX: usize = 100;

/// Nodes of the plan: every region of every phase with its stages. The benchmarks compile this many in well under a second.
pub const NODES_MAX: usize = 50_000;

/// Gates, metrics, sources, strategies, notifiers, calendars or policies in one section of one file.
pub const DEFINITIONS_MAX: usize = 2_000;

/// Pieces of one curve of a scenario. A day in steps of half an hour is 48; more is data, not a script.
pub const CURVE_PIECES_MAX: usize = 200;

/// People, faults or upsets of one scenario: what a person still reads, and what every step of a simulation may look through.
pub const SCRIPT_ROWS_MAX: usize = 200;

/// Diagnostics shown of one file. Nobody reads more, and a file of nothing but errors must not fill a terminal or the memory.
pub const DIAGNOSTICS_MAX: usize = 100;

/// The longest name of anything (RFC 1123 label length, because names end up in labels and host names).
pub const NAME_BYTES_MAX: usize = 63;

/// Bytes of one expression. A gate's condition is a line; what needs a page belongs into a program.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;

/// Levels of one expression. The parser recurses as deep, and so does every later walk over its tree: this bounds their stack.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// Steps of one evaluation: a node costs one, work on long texts and lists costs by their length. A gate's condition takes a
/// dozen; three nested macros over a large JSON find their end here, within milliseconds.
pub const EXPRESSION_STEPS_MAX: u64 = 100_000;

/// Bytes of a compiled regular expression. Its engine is linear in text × pattern, so this bounds the time of a match too.
pub const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a rendered template: sixteen times the longest scalar, so that what is put in cannot fill the memory.
pub const RENDERED_BYTES_MAX: usize = 16 * SCALAR_BYTES_MAX;
