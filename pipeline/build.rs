//! `sqlx::migrate!` reads the folder of migrations; cargo must know that a file was added there.

fn main() {
    println!("cargo:rerun-if-changed=src/store/sqlite/migrations");
}
