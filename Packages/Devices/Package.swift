// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let below: [Target.Dependency] = [
    .product(name: "LinuxSys", package: "LinuxSys"),
    .product(name: "AddressSpace", package: "AddressSpace"),
    .product(name: "Hypervisor", package: "Hypervisor"),
    .product(name: "FDT", package: "FDT"),
]

let package = Package(
    name: "Devices",
    products: [.library(name: "Devices", targets: ["Devices"])],
    dependencies: [
        .package(path: "../LinuxSys"), .package(path: "../AddressSpace"), .package(path: "../Hypervisor"), .package(path: "../FDT"),
    ],
    targets: [
        .target(name: "Devices", dependencies: below, swiftSettings: strict),
        .testTarget(
            name: "DevicesTests", dependencies: ["Devices", .product(name: "HypervisorTesting", package: "Hypervisor")] + below, swiftSettings: strict),
    ])
