// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(), .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]
let linuxSys = Target.Dependency.product(name: "LinuxSys", package: "LinuxSys")
let addressSpace = Target.Dependency.product(name: "AddressSpace", package: "AddressSpace")
let fdt = Target.Dependency.product(name: "FDT", package: "FDT")
let hypervisor = Target.Dependency.product(name: "Hypervisor", package: "Hypervisor")

let package = Package(
    name: "CPU",
    products: [.library(name: "CPU", targets: ["CPU"])],
    dependencies: [
        .package(path: "../LinuxSys"), .package(path: "../AddressSpace"), .package(path: "../FDT"), .package(path: "../Hypervisor"),
    ],
    targets: [
        // The kick signal: its handler may not run Swift code.
        .target(name: "CCPU"),
        .target(name: "CPU", dependencies: ["CCPU", linuxSys, addressSpace, fdt, hypervisor], swiftSettings: strict),
        .testTarget(
            name: "CPUTests",
            dependencies: [
                "CPU", linuxSys, addressSpace, fdt, hypervisor, .product(name: "FDTTesting", package: "FDT"),
                .product(name: "HypervisorTesting", package: "Hypervisor"),
            ],
            exclude: ["Golden"], swiftSettings: strict),
    ])
