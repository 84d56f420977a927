//! Who is asking, and may they: identities, the certificate authority of a standalone server,
//! authorization.
//!
//! Parts, in reading order: [`identity`] says who somebody is, [`authorizer`] what they may do,
//! [`authority`] issues certificates and keeps the server's own, [`mod@kubeconfig`] hands a
//! credential to kubectl, [`mod@file`] writes what must not be read by others. HTTP is not here.

pub mod authority;
pub mod authorizer;
mod certificate;
pub mod file;
pub mod identity;
pub mod kubeconfig;
mod tls;

pub use authority::{Authority, AuthorityError, ClientCredential, Created};
pub use authorizer::{Attributes, Decision, Target, authorize};
pub use certificate::validity;
pub use file::{WriteError, write_private};
pub use identity::{CertificateError, Identity, Method, identity_of};
pub use kubeconfig::kubeconfig;
