// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// Tests call libc and Foundation freely.
let tests = Array(strict.dropFirst())

let package = Package(
    name: "Boot",
    products: [
        .library(name: "Boot", targets: ["Boot"]),
        .library(name: "BootX86", targets: ["BootX86"]),
        .library(name: "BootAArch64", targets: ["BootAArch64"]),
    ],
    dependencies: [
        .package(path: "../LinuxSys"), .package(path: "../AddressSpace"), .package(path: "../CPU"),
    ],
    targets: [
        .target(
            name: "Boot",
            dependencies: [
                "BootCommon", "BootX86", "BootAArch64", "BootDecompression", .product(name: "LinuxSys", package: "LinuxSys"),
                .product(name: "AddressSpace", package: "AddressSpace"), .product(name: "CPU", package: "CPU"),
            ],
            swiftSettings: strict),
        // Pure data: what kernels and tables look like in bytes. Depends on nothing, compiles on every host.
        .target(name: "BootCommon", swiftSettings: strict),
        .target(name: "BootX86", dependencies: ["BootCommon"], swiftSettings: strict),
        .target(name: "BootAArch64", dependencies: ["BootCommon"], swiftSettings: strict),
        .systemLibrary(name: "CZlib", pkgConfig: nil, providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: nil, providers: [.apt(["libzstd-dev"])]),
        .target(
            name: "BootDecompression",
            dependencies: ["BootCommon", "CZlib", "CZstd", .product(name: "LinuxSys", package: "LinuxSys")],
            swiftSettings: strict),
        // Kernels of a few KiB, built by the tests of all targets.
        .target(name: "BootTestSupport", dependencies: ["CZlib", "CZstd"], path: "Tests/BootTestSupport", swiftSettings: tests),
        .testTarget(
            name: "BootTests",
            dependencies: [
                "Boot", "BootCommon", "BootX86", "BootAArch64", "BootTestSupport",
                .product(name: "AddressSpace", package: "AddressSpace"), .product(name: "CPU", package: "CPU"),
            ],
            swiftSettings: tests),
        .testTarget(name: "BootX86Tests", dependencies: ["BootCommon", "BootX86", "BootTestSupport"], swiftSettings: tests),
        .testTarget(
            name: "BootAArch64Tests", dependencies: ["BootCommon", "BootAArch64", "BootTestSupport"], swiftSettings: tests),
        .testTarget(
            name: "BootDecompressionTests", dependencies: ["BootCommon", "BootDecompression", "BootTestSupport"],
            swiftSettings: tests),
    ])
