//! bgpd and speakers of other makers, on real sockets and real kernels.

mod abuse;
mod add_path;
mod as_paths;
mod bfd;
mod cluster;
mod configuration;
mod drain;
mod filters;
mod guards;
mod hops;
mod large_table;
mod long_lived;
mod node_status;
mod passwords;
mod racks;
mod reachable_by;
mod recording;
mod reflection;
mod roles;
mod scenarios;
mod services;
mod sessions;
mod static_file;
mod status;
mod topology;
mod weights;

fn main() {
    let labs = [
        scenarios::labs(),
        services::labs(),
        sessions::labs(),
        abuse::labs(),
        add_path::labs(),
        as_paths::labs(),
        bfd::labs(),
        reachable_by::labs(),
        reflection::labs(),
        roles::labs(),
        cluster::labs(),
        configuration::labs(),
        drain::labs(),
        filters::labs(),
        guards::labs(),
        static_file::labs(),
        hops::labs(),
        large_table::labs(),
        long_lived::labs(),
        node_status::labs(),
        passwords::labs(),
        recording::labs(),
        racks::labs(),
        status::labs(),
        topology::labs(),
        weights::labs(),
    ];
    tests::main(labs.into_iter().flatten().collect())
}
