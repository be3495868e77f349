//! Long lists in pages, with an opaque token for the next one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::aws::refusal::Refusal;

/// One page of a list, and the token of the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Cuts the page that `token` names out of `all`, with at most `size` entries.
///
/// The token holds the last key given out and not a position, so that entries which come or go in between are neither
/// skipped nor repeated; `key` must be unique.
pub fn page<T: Clone>(
    all: &[T],
    key: impl Fn(&T) -> String,
    token: Option<&str>,
    size: usize,
) -> Result<Page<T>, Refusal> {
    let from = match token {
        None => 0,
        Some(token) => {
            let last = URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| Refusal::parameter("Invalid token."))?;
            let place = all.iter().position(|item| key(item) == last);
            place.ok_or_else(|| Refusal::parameter("Invalid token."))? + 1
        }
    };
    let items: Vec<T> = all.iter().skip(from).take(size.max(1)).cloned().collect();
    let more = from + items.len() < all.len();
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| URL_SAFE_NO_PAD.encode(key(last)));
    Ok(Page { items, next })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pages_together_are_the_whole_list() {
        let all: Vec<u32> = (0..7).collect();
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let page = page(&all, u32::to_string, token.as_deref(), 3).unwrap();
            seen.extend(page.items);
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_token_that_was_never_given_out_is_refused() {
        assert!(page(&[1, 2], i32::to_string, Some("nonsense"), 1).is_err());
    }
}
