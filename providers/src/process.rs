//! Programs that are run for an answer: what they inherit, how they end with everything they started, how they are quoted.

use tokio::process::Child;

/// What a program inherits of the engine's environment, so that it is found and finds its files; everything else it has to be
/// told by name.
pub const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// What there is of that.
pub fn inherited() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    INHERITED
        .into_iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)))
}

/// A program's process group; it is killed when this is dropped, with whatever the program left running.
pub struct Group(Option<libc::pid_t>);

impl Group {
    /// The group of a child that was started with `process_group(0)`.
    pub fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| libc::pid_t::try_from(id).ok()))
    }

    pub fn ask_to_end(&self) {
        self.signal(libc::SIGTERM);
    }

    #[expect(unsafe_code, reason = "the standard library has no signals for process groups")]
    fn signal(&self, signal: libc::c_int) {
        if let Some(leader) = self.0.filter(|leader| *leader > 1) {
            // SAFETY: `kill` takes two numbers and touches no memory. The group is the child's own, made by `process_group(0)`.
            unsafe {
                libc::kill(-leader, signal);
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

/// So much of a text in printable characters, with an ellipsis where it goes on.
pub fn shortened(text: &str, chars_max: usize) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = printable.take(chars_max).collect();
    if text.chars().count() > chars_max {
        short.push('…');
    }
    short
}
