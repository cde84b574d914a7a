//! RegistryService: which processes live, for backends that balance over them.

use tonic::{Request, Response, Status};
use tracing::warn;

use super::server::MAX_REQUEST_BYTES;
use super::status;
use super::v1::instance::{Role, State};
use super::v1::registry_service_server::{RegistryService, RegistryServiceServer};
use super::v1::{Instance, ListInstancesRequest, ListInstancesResponse};
use crate::presence::Presence;
use crate::presence::lease::{self, Lease};

/// Reads the leases in presence.
#[derive(Debug)]
pub struct Registry {
    presence: Presence,
}

/// The service, for [`super::Server::with`].
pub fn service(presence: Presence) -> RegistryServiceServer<Registry> {
    RegistryServiceServer::new(Registry { presence }).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl RegistryService for Registry {
    async fn list_instances(
        &self,
        _: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        let leases = self.presence.instances().await.map_err(|error| {
            warn!(error = &error as &dyn std::error::Error, "gRPC: the instances are not known");
            status::unavailable("presence does not answer; go on with the instances that you know")
        })?;
        Ok(Response::new(ListInstancesResponse { instances: leases.iter().map(instance).collect() }))
    }
}

/// A process as its lease says.
pub fn instance(lease: &Lease) -> Instance {
    let state = match lease.state {
        lease::State::Up => State::Up,
        lease::State::Draining => State::Draining,
    };
    let roles = match lease.role {
        lease::Role::Serve => vec![Role::Gateway, Role::Pipeline],
        lease::Role::Gateway => vec![Role::Gateway],
        lease::Role::Pipeline => vec![Role::Pipeline],
    };
    Instance {
        id: lease.id.to_string(),
        incarnation: lease.incarnation,
        state: state.into(),
        address: lease.address.to_string(),
        public: lease.public.to_string(),
        roles: roles.into_iter().map(i32::from).collect(),
        version: lease.version.to_string(),
    }
}
