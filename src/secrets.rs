//! The operator's secrets: which workflow may use which name, and where its value is read at the moment of use.
//!
//! `secrets.json` in the state directory: `{"payments-api": {"prometheus": "env:PROM_TOKEN", "ca": "file:/run/secrets/ca"}}`.
//! A workflow reads what stands under its name, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use meridian_engine::ports::failure::Failure;
use meridian_engine::ports::secret::{Secret, Secrets};

/// By workflow, then by the name that it uses.
type Written = BTreeMap<String, BTreeMap<String, String>>;

/// A value longer than this is no secret but a mistake.
const BYTES_MAX: u64 = 1 << 20;

/// Secrets by a file of the operator.
#[derive(Clone, Debug)]
pub struct SecretsFile {
    path: PathBuf,
}

impl SecretsFile {
    pub fn new(path: PathBuf) -> SecretsFile {
        SecretsFile { path }
    }

    fn place(&self, workflow: &str, name: &str) -> Result<String, Failure> {
        let shown = self.path.display();
        let missing = || {
            Failure::lasting(format!(
                "the secret `{name}` is not given to workflow `{workflow}` in {shown}"
            ))
        };
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(Failure::lasting(format!("{shown} cannot be read: {error}"))),
        };
        // The parser's own message could quote the text, so only its place is told.
        let mut written: Written = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::lasting(format!(
                "{shown} is not a map of workflows to secrets (line {line}, column {column})"
            ))
        })?;
        written
            .get_mut(workflow)
            .and_then(|names| names.remove(name))
            .ok_or_else(missing)
    }
}

impl Secrets for SecretsFile {
    fn resolve(&self, workflow: &str, name: &str) -> Result<Secret, Failure> {
        let place = self.place(workflow, name)?;
        let value = match place.split_once(':') {
            Some(("env", variable)) => std::env::var(variable)
                .map_err(|_| Failure::lasting(format!("the variable `{variable}` of secret `{name}` is not set")))?,
            Some(("file", file)) => read(file, name)?,
            Some(_) | None => {
                return Err(Failure::lasting(format!(
                    "the secret `{name}` is neither `env:VARIABLE` nor `file:PATH` in {}",
                    self.path.display()
                )));
            }
        };
        let value = value.trim_end_matches(['\n', '\r']);
        if value.is_empty() {
            return Err(Failure::lasting(format!("the secret `{name}` is empty")));
        }
        Ok(Secret::new(value.to_owned()))
    }
}

fn read(file: &str, name: &str) -> Result<String, Failure> {
    let failed = |why: String| Failure::lasting(format!("the file `{file}` of secret `{name}` {why}"));
    let metadata = std::fs::metadata(file).map_err(|error| failed(format!("cannot be read: {error}")))?;
    if metadata.len() > BYTES_MAX {
        return Err(failed("is too long".to_owned()));
    }
    std::fs::read_to_string(file).map_err(|error| failed(format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::SecretsFile;
    use meridian_engine::ports::secret::Secrets;

    #[test]
    fn a_workflow_reads_what_it_was_given_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let value = dir.path().join("token");
        std::fs::write(&value, "s3cret\n").unwrap();
        let map = dir.path().join("secrets.json");
        let text = serde_json::json!({"api": {"token": format!("file:{}", value.display()), "odd": "s3cret"}});
        std::fs::write(&map, text.to_string()).unwrap();
        let secrets = SecretsFile::new(map);
        assert_eq!(secrets.resolve("api", "token").unwrap().expose(), "s3cret");
        let refused = |workflow, name| secrets.resolve(workflow, name).unwrap_err().to_string();
        assert!(refused("web", "token").contains("not given to workflow `web`"));
        assert!(refused("api", "other").contains("`other` is not given"));
        assert!(!refused("api", "odd").contains("s3cret"));
    }

    #[test]
    fn a_file_that_is_no_map_is_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let map = dir.path().join("secrets.json");
        std::fs::write(&map, r#"{"api": "s3cret"}"#).unwrap();
        let refused = SecretsFile::new(map).resolve("api", "token").unwrap_err().to_string();
        assert!(refused.contains("line 1") && !refused.contains("s3cret"), "{refused}");
    }
}
