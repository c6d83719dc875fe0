// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// Whose calls the benchmark counts.
let allocators = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"]

let package = Package(
    name: "stratovirt",
    products: [.executable(name: "stratovirt", targets: ["stratovirt"])],
    dependencies: [
        .package(path: "Packages/Hypervisor"),
        .package(path: "Packages/LinuxSys"),
        .package(path: "Packages/MachineManager"),
        .package(path: "Packages/Machine"),
        // For the benchmark alone.
        .package(path: "Packages/AddressSpace"),
        .package(path: "Packages/BlockBackend"),
        .package(path: "Packages/CPU"),
        .package(path: "Packages/Devices"),
        .package(path: "Packages/Virtio"),
    ],
    targets: [
        .target(name: "CRuntime", path: "App/CRuntime"),
        .executableTarget(
            name: "stratovirt",
            dependencies: [
                "CRuntime",
                .product(name: "Hypervisor", package: "Hypervisor"),
                .product(name: "LinuxSys", package: "LinuxSys"),
                .product(name: "MachineManager", package: "MachineManager"),
                .product(name: "Machine", package: "Machine"),
            ],
            path: "App/Sources", swiftSettings: strict),
        .target(name: "CProgramTests", path: "Tests/CProgramTests"),
        .testTarget(name: "ProgramTests",
            dependencies: ["CProgramTests", .product(name: "LinuxSys", package: "LinuxSys")], path: "Tests/Program"),
        // What Benchmarks/micro measures: here, so that it is made of the very objects that the program is made of.
        .target(name: "COperations", path: "Benchmarks/operations/COperations"),
        .executableTarget(
            name: "operations",
            dependencies: [
                "COperations",
                "CRuntime",
                .product(name: "AddressSpace", package: "AddressSpace"),
                .product(name: "BlockBackend", package: "BlockBackend"),
                .product(name: "CPU", package: "CPU"),
                .product(name: "Devices", package: "Devices"),
                .product(name: "Hypervisor", package: "Hypervisor"),
                .product(name: "HypervisorTesting", package: "Hypervisor"),
                .product(name: "LinuxSys", package: "LinuxSys"),
                .product(name: "MachineManager", package: "MachineManager"),
                .product(name: "Virtio", package: "Virtio"),
            ],
            // It plays the guest and the host's programs: no strict memory safety.
            path: "Benchmarks/operations/Sources", swiftSettings: Array(strict.dropFirst()),
            linkerSettings: [.unsafeFlags(allocators.flatMap { ["-Xlinker", "--wrap=\($0)"] })]),
    ])
