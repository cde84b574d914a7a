//! What hostile and broken clients do to a running server, byte by byte where a library would refuse to write it.
//! Where each kind of bad input is tested stands in `README.md` beside this file.

mod crowd;
mod descriptors;
mod disk;
mod floods;
mod frames;
mod pieces;
mod requests;
mod silence;
mod socket;
mod stopping;
mod streams;
mod text;
mod tokens;
mod watch;
mod wire;
