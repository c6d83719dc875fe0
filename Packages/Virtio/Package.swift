// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let below: [Target.Dependency] = [
    .product(name: "AddressSpace", package: "AddressSpace"),
    .product(name: "BlockBackend", package: "BlockBackend"),
    .product(name: "Devices", package: "Devices"),
    .product(name: "Hypervisor", package: "Hypervisor"),
    .product(name: "LinuxSys", package: "LinuxSys"),
]

let package = Package(
    name: "Virtio",
    products: [.library(name: "Virtio", targets: ["Virtio"])],
    dependencies: [
        .package(path: "../AddressSpace"), .package(path: "../BlockBackend"), .package(path: "../Devices"),
        .package(path: "../Hypervisor"), .package(path: "../LinuxSys"),
    ],
    targets: [
        .target(name: "CTap"),
        .target(name: "CVhost"),
        .target(name: "CVhostUser"),
        .target(name: "Virtio", dependencies: below + ["CTap", "CVhost", "CVhostUser"], swiftSettings: strict),
        .target(name: "CNetTestSupport", path: "Tests/CNetTestSupport"),
        // The tests play the guest, which writes where it likes: no strict memory safety here.
        .testTarget(
            name: "VirtioTests",
            dependencies: ["Virtio", "CNetTestSupport", .product(name: "HypervisorTesting", package: "Hypervisor")] + below,
            swiftSettings: Array(strict.dropFirst())),
    ])
