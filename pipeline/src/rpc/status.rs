//! Refusals as gRPC says them (docs/GRPC.md "Codes"): the one place that maps codes of the wire to those of gRPC.

use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;
use tonic::metadata::MetadataValue;
use tonic::{Code as Grpc, Status};

/// The status of a refusal. Its message begins with the code's name, which also stands in the trailer `tidegate-code`;
/// when to try again stands where gRPC's own retries look for it.
pub fn refused(refusal: &Refusal) -> Status {
    let mut status = Status::new(grpc(refusal.code), refusal.to_string());
    let code = MetadataValue::from_static(refusal.code.as_str_name());
    status.metadata_mut().insert(CODE, code);
    if refusal.retry_after_ms > 0 {
        status.metadata_mut().insert(RETRY, MetadataValue::from(refusal.retry_after_ms));
    }
    status
}

/// INVALID_ARGUMENT.
pub fn invalid(message: impl Into<String>) -> Status {
    refused(&Refusal::invalid(message))
}

/// UNAVAILABLE, to be tried again after a second.
pub fn unavailable(message: impl Into<String>) -> Status {
    let retry_after_ms = 1_000;
    refused(&Refusal { code: Code::Unavailable, message: message.into(), retry_after_ms })
}

fn grpc(code: Code) -> Grpc {
    match code {
        Code::InvalidArgument | Code::ProtocolError => Grpc::InvalidArgument,
        // As tonic answers a message that is too large to be read.
        Code::TooLarge => Grpc::OutOfRange,
        Code::Unauthenticated => Grpc::Unauthenticated,
        Code::PermissionDenied => Grpc::PermissionDenied,
        Code::NotFound => Grpc::NotFound,
        Code::Conflict => Grpc::AlreadyExists,
        Code::RateLimited | Code::Limit => Grpc::ResourceExhausted,
        Code::Unavailable => Grpc::Unavailable,
        Code::Unimplemented => Grpc::Unimplemented,
        Code::Internal | Code::Ok => Grpc::Internal,
    }
}

/// The trailer with the name of our code.
pub const CODE: &str = "tidegate-code";
/// The trailer with the ms after which a client that retries does so; a negative number: it does not.
pub const RETRY: &str = "grpc-retry-pushback-ms";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_told_by_name_and_none_is_taken_for_success() {
        for code in (0..).map_while(|number| Code::try_from(number).ok()) {
            let status = refused(&Refusal::new(code, "why"));
            assert_ne!(status.code(), Grpc::Ok);
            assert!(status.message().starts_with(code.as_str_name()) && status.message().ends_with("why"));
            assert_eq!(status.metadata().get(CODE).unwrap(), code.as_str_name());
            assert!(status.metadata().get(RETRY).is_none());
        }
    }

    #[test]
    fn only_what_passes_says_when_to_retry() {
        let status = unavailable("later");
        assert_eq!(status.code(), Grpc::Unavailable);
        assert_eq!(status.metadata().get(RETRY).unwrap(), "1000");
        assert_eq!(invalid("why").code(), Grpc::InvalidArgument);
    }
}
