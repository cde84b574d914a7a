//! `sqlx::migrate!` reads the folders of migrations; cargo must know that a file was added there.

fn main() {
    for engine in ["mysql", "postgres", "sqlite"] {
        println!("cargo:rerun-if-changed=src/store/{engine}/migrations");
    }
}
