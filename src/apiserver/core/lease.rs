//! `coordination.k8s.io/v1` Lease: who leads or lives, until when.

use serde_json::{Value, json};

use super::{Outline, definition as document};
use crate::registry::Strategy;

/// Unlike the core kinds, a Lease is never overwritten blindly: that would defeat the lock.
pub(super) const STRATEGY: Strategy = Strategy {
    unconditional_update: false,
    is_report: true,
    ..Strategy::BUILT_IN
};

pub(super) fn definition() -> Value {
    let outline = Outline {
        group: "coordination.k8s.io",
        version: "v1",
        kind: "Lease",
        plural: "leases",
        short_names: &[],
        scope: "Namespaced",
        properties: json!({ "spec": { "type": "object", "properties": {
            "holderIdentity": { "type": "string", "description": "Who holds the lease." },
            "leaseDurationSeconds": { "type": "integer", "format": "int32", "minimum": 1, "description": "For how long after renewTime it holds." },
            "acquireTime": { "type": "string", "format": "date-time", "description": "When the holder got it." },
            "renewTime": { "type": "string", "format": "date-time", "description": "When the holder last said that it lives." },
            "leaseTransitions": { "type": "integer", "format": "int32", "minimum": 0, "description": "How often the holder changed." },
            "preferredHolder": { "type": "string", "description": "Who should take over." },
            "strategy": { "type": "string", "description": "How the next holder is chosen." },
        } } }),
        selectable: &[],
        status: false,
    };
    document(&outline, "A lock with a time limit, or a sign of life.")
}
