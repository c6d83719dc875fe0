// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]
let parts = ["LinuxSys", "AddressSpace", "Hypervisor", "CPU", "Boot", "FDT", "Devices", "BlockBackend", "Virtio", "MachineManager"]

let package = Package(
    name: "Machine",
    products: [.library(name: "Machine", targets: ["Machine"])],
    dependencies: parts.map { .package(path: "../\($0)") },
    targets: [
        .target(name: "Machine", dependencies: parts.map { .product(name: $0, package: $0) }, swiftSettings: strict),
        .testTarget(
            name: "MachineTests", dependencies: ["Machine", .product(name: "HypervisorTesting", package: "Hypervisor"), .product(name: "FDTTesting", package: "FDT")],
            exclude: ["Golden"], swiftSettings: strict),
    ])
