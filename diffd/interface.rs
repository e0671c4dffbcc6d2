//! The messages and the services that containerd speaks, from `proto/`; `check` and the tests have the halves that are not
//! ours.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

pub mod containerd {
    pub mod types {
        tonic::include_proto!("containerd.types");
    }
    pub mod services {
        pub mod content {
            pub mod v1 {
                tonic::include_proto!("containerd.services.content.v1");
            }
        }
        pub mod diff {
            pub mod v1 {
                tonic::include_proto!("containerd.services.diff.v1");
            }
        }
        pub mod introspection {
            pub mod v1 {
                tonic::include_proto!("containerd.services.introspection.v1");
            }
        }
        pub mod leases {
            pub mod v1 {
                tonic::include_proto!("containerd.services.leases.v1");
            }
        }
    }
}

// Not everybody who has this file needs all of it.
#[allow(unused_imports)]
pub use containerd::services::content::v1 as content;
pub use containerd::services::diff::v1 as diff;
#[allow(unused_imports)]
pub use containerd::services::introspection::v1 as introspection;
#[allow(unused_imports)]
pub use containerd::services::leases::v1 as leases;
pub use containerd::types;
