// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "AddressSpace",
    products: [.library(name: "AddressSpace", targets: ["AddressSpace"])],
    dependencies: [.package(path: "../LinuxSys")],
    targets: [
        .target(name: "CAddressSpace"),
        .target(
            name: "AddressSpace",
            dependencies: [
                "CAddressSpace", .product(name: "LinuxSys", package: "LinuxSys"),
                .product(name: "CLinuxSys", package: "LinuxSys"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "AddressSpaceTests",
            dependencies: ["AddressSpace", .product(name: "LinuxSys", package: "LinuxSys")],
            swiftSettings: strict),
    ])
