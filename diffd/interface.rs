//! The messages and the service that containerd speaks, from `proto/`; `check` and the tests have the client's half.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

pub mod containerd {
    pub mod types {
        tonic::include_proto!("containerd.types");
    }
    pub mod services {
        pub mod diff {
            pub mod v1 {
                tonic::include_proto!("containerd.services.diff.v1");
            }
        }
    }
}

pub use containerd::services::diff::v1 as diff;
pub use containerd::types;
