//! The small broadcast service, `chat.Chat` and `chat.Notify`: everybody's channel as a numbered log, for programs that
//! know no more (docs/GRPC.md "The broadcast service"). Beside it the channel is one like any other.

mod chat;
pub mod follow;
mod notify;
mod said;

pub use self::chat::{Chat, service as chat};
pub use self::notify::{Notify, service as notify};

/// The generated services of package `chat`; their text is `proto/proto/chat/chat.proto`.
#[allow(clippy::pedantic, missing_docs, unreachable_pub)]
pub mod wire {
    tonic::include_proto!("chat");
}
