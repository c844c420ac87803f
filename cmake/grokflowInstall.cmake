# The installed package: find_package(grokflow CONFIG), then grokflow::grokflow.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/grokflow")
install(TARGETS grokflow EXPORT grokflowTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/cpp/include/grokflow" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT grokflowTargets NAMESPACE grokflow:: DESTINATION "${package_dir}")

configure_package_config_file(
  cmake/grokflowConfig.cmake.in grokflowConfig.cmake INSTALL_DESTINATION "${package_dir}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(grokflowConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
  FILES "${PROJECT_BINARY_DIR}/grokflowConfig.cmake" "${PROJECT_BINARY_DIR}/grokflowConfigVersion.cmake"
        "${PROJECT_SOURCE_DIR}/cmake/grokflowEigen.cmake"
  DESTINATION "${package_dir}")
