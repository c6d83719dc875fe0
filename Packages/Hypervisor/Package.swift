// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]
let linuxSys = Target.Dependency.product(name: "LinuxSys", package: "LinuxSys")
let addressSpace = Target.Dependency.product(name: "AddressSpace", package: "AddressSpace")

let package = Package(
    name: "Hypervisor",
    products: [
        .library(name: "Hypervisor", targets: ["Hypervisor"]),
        // A hypervisor without a kernel, for the tests of other packages; nothing in the release binary refers to it.
        .library(name: "HypervisorTesting", targets: ["HypervisorTesting"]),
    ],
    dependencies: [.package(path: "../LinuxSys"), .package(path: "../AddressSpace")],
    targets: [
        // Header only: every call is inlined, and errno is read before any Swift code runs.
        .systemLibrary(name: "CKVM"),
        .target(name: "Hypervisor", dependencies: ["CKVM", linuxSys, addressSpace], swiftSettings: strict),
        .target(name: "HypervisorTesting", dependencies: ["Hypervisor", linuxSys, addressSpace], swiftSettings: strict),
        .testTarget(name: "HypervisorTests", dependencies: ["Hypervisor", "HypervisorTesting", linuxSys, addressSpace],
                    swiftSettings: strict),
    ])
