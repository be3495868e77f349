//! What every AWS service has in common on the wire: signed requests, members read strictly, refusals with codes, pages.

pub mod manners;
pub mod members;
pub mod paging;
pub mod query;
pub mod refusal;
pub mod signature;
pub mod xml;
