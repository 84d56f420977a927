//! The composition root: configuration in, one running server out.
