//! The registry that every double pulls from: what content is behind an image's tag, the same in all clouds.

use sha2::{Digest as _, Sha256};

/// The content of an image, as `sha256:…`. A tag means the same in every registry, and never moves.
pub fn digest(image: &str) -> String {
    if let Some((_, digest)) = image.split_once('@') {
        return digest.to_owned();
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    let hex: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
