//! Settings read strictly, with the key that is wrong in the complaint.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The settings as `T`.
///
/// *Errors*: what is wrong, and under which key: the reader itself names keys only where one is unknown or missing.
pub(crate) fn understood<T: DeserializeOwned>(settings: &Value) -> Result<T, String> {
    let read = |settings: Value| serde_json::from_value::<T>(settings).map_err(|error| error.to_string());
    let why = match read(settings.clone()) {
        Ok(understood) => return Ok(understood),
        Err(why) => why,
    };
    // The reader stops at the first key that it cannot read, so without that key it says something else.
    let keys = settings.as_object().into_iter().flat_map(serde_json::Map::keys);
    let is_guilty = |key: &&String| {
        let mut without = settings.clone();
        if let Some(map) = without.as_object_mut() {
            map.remove(*key);
        }
        read(without).err().as_ref() != Some(&why)
    };
    Err(match keys.into_iter().find(is_guilty) {
        Some(key) if !why.contains(&format!("`{key}`")) => format!("`{key}`: {why}"),
        Some(_) | None => why,
    })
}

#[cfg(test)]
mod tests {
    use super::understood;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Settings {
        name: String,
        count: Option<u8>,
    }

    #[test]
    fn the_key_that_is_wrong_is_named() {
        let why = |settings| understood::<Settings>(&settings).unwrap_err();
        assert!(why(json!({"name": "a", "count": "many"})).starts_with("`count`: "));
        assert!(why(json!({"name": 1, "count": "many"})).contains("`count`"));
        assert!(why(json!({"count": 1})).contains("missing field `name`"));
        assert!(why(json!({"name": "a", "colour": 1})).contains("unknown field `colour`"));
        assert!(!why(json!([])).is_empty());
    }
}
